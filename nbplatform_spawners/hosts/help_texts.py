"""What ``nbplatform hosts COMMAND --help`` says."""

_TLS = """\
Hosts are asked over TLS with the hub's own client certificates: ca.pem, cert.pem and key.pem in --tls-directory, or
in a folder of the host's name below it.  All are asked at once, and one that does not answer delays no other.
"""

HOSTS = """\
Look at the Docker hosts of the rules, check them, drain one, and fetch images.
Nothing here changes a file, and nothing but 'pull' changes a host.

examples:
  nbplatform hosts status --rules placement_rules --tls-directory /etc/jupyterhub/docker-tls
  nbplatform hosts check
"""

STATUS = f"""\
Say of each host whether it answers, how much of its memory is promised and which GPUs are taken, and by how many
servers: read from the labels of the containers on it.
{_TLS}\
exit status: 0 every host answers, 1 one does not, or the rules are bad, 2 wrong use, also an unknown pool or host

examples:
  nbplatform hosts status
  nbplatform hosts status --pool gpu --hub-id hub1 --json
"""

CHECK = f"""\
Look at everything on the hosts that the rules count on, and name each thing that is wrong, one a line, with what to
do: certificates, clock, API, memory, CPUs, GPUs, images, network, and by a short-lived container on each host the
sources of mounts and symbolic links that lead out of the mount roots.  Notes fail nothing.
With accounts also the mounts of everybody, as the rules decide them now; without, those without placeholders alone.
{_TLS}\
exit status: 0 no problem (notes or not), 1 problems, or the rules or the accounts are bad, 2 wrong use

examples:
  nbplatform hosts check
  nbplatform hosts check --host gpu01 --accounts accounts.yaml
  nbplatform hosts check --mount-root /home --mount-root /sps --mount-root /cvmfs
"""

DRAIN = f"""\
Show how to drain a host: the line of the rules to change, and what runs there now.  No file is changed here: the hub
takes the change from the file within two seconds, and from then on starts nothing new on the host.
{_TLS}\
exit status: 0 shown, 1 the rules are bad, 2 wrong use, also an unknown host

examples:
  nbplatform hosts drain cpu01
"""

PULL = f"""\
Fetch images on all hosts at once: those that are named, or on each host those that the rules may run there.
On a terminal each host has one line that is kept up to date, else each step is a line.
{_TLS}\
exit status: 0 all are there, 1 one could not be fetched, or the rules are bad, 2 wrong use

examples:
  nbplatform hosts pull
  nbplatform hosts pull --pool gpu nbplatform/gpu:2026.11
"""
