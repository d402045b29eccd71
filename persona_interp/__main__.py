"""`persona-interp` from its first moment on: signals are heard before the command line is imported."""

from persona_interp.ending import ends_on_sigterm


def main() -> None:
    """Run a command; see `cli.main`."""
    with ends_on_sigterm():
        from persona_interp.cli import main as run

        run()


if __name__ == "__main__":
    main()
