import pytest

from inceptionzoo.cli import main


@pytest.fixture
def cli(capsys):
    """Run a command and return (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
