"""``python -m nbplatform_spawners.slurm_dask``, also as the command ``nbplatform-slurm``: the service of the hub."""

from .service_app import main

if __name__ == "__main__":
    main()
