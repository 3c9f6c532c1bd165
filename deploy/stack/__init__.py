"""The stack of docker-compose.yml as processes of this machine: ``make stack``."""
