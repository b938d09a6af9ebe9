"""The command `alia-ray`, which `python -m alia_ray` is too."""

import sys


def main() -> None:
    """Run the command. Its imports take a second or two, in which it may be interrupted as well."""
    try:
        from alia_ray.cli import app
    except KeyboardInterrupt:
        print("interrupted; nothing was begun", file=sys.stderr)
        sys.exit(130)
    app(prog_name="alia-ray")


if __name__ == "__main__":
    main()
