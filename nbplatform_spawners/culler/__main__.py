"""``python -m nbplatform_spawners.culler``, also as the command ``nbplatform-culler``."""

from .app import main

if __name__ == "__main__":
    main()
