"""NVIDIA Triton, a real one: what the nvidia-pytriton wheel carries, started as NVIDIA's container starts it."""
