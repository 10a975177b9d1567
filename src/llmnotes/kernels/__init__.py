"""Kernels: attention as fast as the machine allows, and why."""
