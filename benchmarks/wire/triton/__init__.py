"""NVIDIA Triton itself, from the nvidia-pytriton wheel, started as NVIDIA's container starts it."""
