"""`python -m alia_ray` is `alia-ray`."""

from alia_ray.cli import app

if __name__ == "__main__":
    app(prog_name="alia-ray")
