"""The command line: ``asbru serve``, ``check``, ``keys generate``, ``sandbox``.

Only options and output live here; each command calls one function that does the work. Modules that a command needs are
imported when it runs, so that ``asbru --version`` does not pay for a server. Data goes to standard output, everything
else to standard error. Exit codes: 0 clean, 1 unexpected, 2 usage or configuration, 3 cannot start.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict, TypeVar, Unpack

import click

from asbru import __version__

if TYPE_CHECKING:
    from asbru.config import Config
    from asbru.load import ConfigError

UNEXPECTED, CONFIGURATION, CANNOT_START = 1, 2, 3
DEFAULT_SANDBOX_PORT = 8090
MAX_GENERATED = 1_000

_config_option = click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration (YAML, JSON or TOML); by default $ASBRU_CONFIG, then ./asbru.yaml or ./asbru.yml if it exists.",
)
_port_type = click.IntRange(0, 65535)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


_F = TypeVar("_F", bound=Callable[..., None])


class Options(TypedDict, total=False):
    """What the command line says over the configuration."""

    host: str | None
    port: int | None
    insecure_open: bool
    sandbox: bool
    log_records: bool
    allow_missing_env: bool


def _serve_options(command: _F) -> _F:
    """The options that say what is served: `check` takes them too, and so tells whether `serve` would start."""
    for option in (
        click.option(
            "--log-records", is_flag=True, help="Print each exchange's Record on standard output, as a JSON line."
        ),
        click.option(
            "--sandbox", is_flag=True, help="Have the built-in sandbox provider, whatever else is configured."
        ),
        click.option("--insecure-open", is_flag=True, help="Listen beyond this machine although no key is required."),
        click.option("--port", type=_port_type, metavar="PORT", help="Port to listen on; 0 takes a free one."),
        click.option("--host", metavar="HOST", help="Address to listen on, instead of the configuration's."),
        _config_option,
    ):
        command = option(command)
    return command


class _Commands(click.Group):
    """The commands; output that cannot be written is one line, not a traceback. Click itself handles closed pipes."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the exit would try again and fail
            click.echo(f"asbru: standard output cannot be written: {error.strerror}", err=True)
            sys.exit(UNEXPECTED)


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="asbru %(version)s")
def main() -> None:
    """Asbru, an LLM gateway: unmodified Anthropic clients in, every model provider out."""
    _open_standard_streams()


def _open_standard_streams() -> None:
    """Put the null device where a standard stream is closed.

    Otherwise a socket or a file takes its number: what is printed goes into it, and libuv aborts when it is closed.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free
            if number == 1:
                click.echo("asbru: standard output is closed; nothing can be printed there", err=True)


@main.command()
@_serve_options
def serve(file: Path | None, **options: Unpack[Options]) -> None:
    """Run the gateway.

    SIGTERM drains and ends it; SIGHUP reads the configuration anew.
    """
    from asbru.load import ConfigError, find, source

    found = find(file, os.environ)

    def read(listens: str | None = None) -> Config:
        config = configured(found, **options, listens=listens)
        _warn(config, found, **options)
        return config

    try:
        config = read()
    except ConfigError as error:
        _refuse(error)
    from asbru.app import serve as run

    sys.exit(run(config, reload=lambda: read(config.server.host), file=source(found)))


def configured(file: Path | None, *, listens: str | None = None, **options: Unpack[Options]) -> Config:
    """What the file says and the options override; raises `ConfigError`, at a reload as at the start.

    ``listens`` is the address that a running gateway is bound to: it stays, whatever the file says of it by now.
    """
    from msgspec.structs import replace

    from asbru.load import ConfigError, Problem, is_loopback, load, open_to_others, sandbox_by_default, source

    config = load(
        file,
        os.environ,
        host=options.get("host"),
        port=options.get("port"),
        sandbox=options.get("sandbox", False),
        allow_missing_env=options.get("allow_missing_env", False),
    )
    problem = open_to_others(config)
    if problem is None and listens is not None:
        problem = open_to_others(replace(config, server=replace(config.server, host=listens)))
    problems = [] if problem is None or options.get("insecure_open") else [Problem(("server", "host"), problem)]
    hosts = {config.server.host, listens or config.server.host}
    if not (options.get("sandbox") or all(map(is_loopback, hosts))) and sandbox_by_default(config, file):
        message = "no provider is configured; pass --sandbox to serve made-up answers to other machines"
        problems.append(Problem(("providers",), message))
    if problems:
        raise ConfigError(source(file), problems)
    if options.get("log_records"):
        config = replace(config, log=replace(config.log, records="-"))
    return config


@main.command()
@_serve_options
@click.option("--schema", is_flag=True, help="Print the configuration's JSON Schema instead of checking one.")
@click.option(
    "--allow-missing-env",
    is_flag=True,
    help="Accept references to environment variables that are not set, for a check without secrets (CI).",
)
@click.option("--show", is_flag=True, help="Print the whole configuration with every default, without its secrets.")
@_json_option
def check(file: Path | None, schema: bool, show: bool, as_json: bool, **options: Unpack[Options]) -> None:
    """Check the configuration and print a summary of it.

    Takes the options of `serve`, and ends with the exit code with which `serve` would refuse to start.
    """
    from asbru.load import ConfigError, find, redacted, source, summary
    from asbru.load.startup import start_problems

    if schema:
        from asbru.load.schema import json_schema

        _print_json(json_schema())
        return
    found = find(file, os.environ)
    try:
        config = configured(found, **options)
    except ConfigError as error:
        if as_json:
            _print_json(error.as_dict())
        _refuse(error)
    _warn(config, found, **options)
    problems = start_problems(config, os.environ)
    if as_json:
        _print_json(ConfigError(source(found), problems).as_dict() if problems else redacted(config))
    elif show:
        import yaml

        click.echo(yaml.safe_dump(redacted(config), sort_keys=False, allow_unicode=True), nl=False)
    else:
        click.echo("\n".join(summary(config)))
        if not problems:
            click.echo(f"OK: {source(found)}")
    for problem in problems:
        click.echo(f"asbru: {problem.message}", err=True)
    if problems:
        sys.exit(CANNOT_START)


@main.group()
def keys() -> None:
    """Virtual keys."""


@keys.command()
@click.option("--name", metavar="NAME", help="The key's name; with --count, NAME-1, NAME-2, and so on.")
@click.option("--count", type=click.IntRange(1, MAX_GENERATED), default=1, help="How many keys to generate.")
@click.option(
    "--yaml", "as_yaml", is_flag=True, help="Print entries for `virtual_keys`; the keys go to standard error."
)
@_json_option
def generate(name: str | None, count: int, as_yaml: bool, as_json: bool) -> None:
    """Generate virtual keys and the digests that go into the configuration.

    A key is shown this once; its digest goes under `virtual_keys` and need not be kept secret.
    """
    from asbru.config import NAME_PATTERN
    from asbru.secrets import digest, new_virtual_key

    if as_yaml and as_json:
        raise click.UsageError("--yaml and --json exclude each other")
    if name is not None and not re.match(NAME_PATTERN, name):
        raise click.UsageError(f"{name!r} is not a valid name: use letters, digits, . _ - (1 to 64 characters)")
    names = [name] if count == 1 else [f"{name or 'key'}-{number}" for number in range(1, count + 1)]
    made = [(each, new_virtual_key()) for each in names]
    if as_yaml:
        for each, key in made:
            click.echo(f"  - name: {each or 'key'}\n    digest: {digest(key)}")
            click.echo(f"{each or 'key'}: {key}", err=True)
    elif as_json:
        entries = [{**({"name": each} if each else {}), "key": key, "digest": digest(key)} for each, key in made]
        _print_json(entries[0] if count == 1 else entries)
    else:
        for each, key in made:
            click.echo((f"name:   {each}\n" if each else "") + f"key:    {key}\ndigest: {digest(key)}")


@keys.command("digest")
def digest_of_key() -> None:
    """Print the digest of an existing key, read from standard input.

    Any key can become a virtual key, such as one that another gateway issued: `virtual_keys: [{name: …, digest: …}]`.
    """
    from asbru.secrets import digest

    key = sys.stdin.read().strip()
    if not key or any(character.isspace() for character in key):
        raise click.UsageError("expected one key on standard input")
    click.echo(digest(key))


@main.command()
@click.option("--host", default="127.0.0.1", metavar="HOST", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=_port_type,
    default=DEFAULT_SANDBOX_PORT,
    metavar="PORT",
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--replies",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Scripted replies (a JSON list) for the first message requests.",
)
def sandbox(host: str, port: int, file: Path | None) -> None:
    """Run the sandbox provider alone: the Anthropic API, scripted and deterministic, with no key and no network.

    Prints one line for each request.
    """
    from asbru.app import serve_sandbox
    from asbru.sandbox.replies import read_file

    try:
        replies = [] if file is None else read_file(file)
    except ValueError as error:
        click.echo(f"asbru: {file}: {error}", err=True)
        sys.exit(CONFIGURATION)
    sys.exit(serve_sandbox(host, port, replies))


def _warn(config: Config, file: Path | None, **options: Unpack[Options]) -> None:
    from asbru.load import sandbox_by_default
    from asbru.load.exposure import exposed_secrets

    if not options.get("sandbox") and sandbox_by_default(config, file):
        click.echo(
            "asbru: warning: only the built-in sandbox answers, with made-up text; configure a provider, "
            "or pass --sandbox if that is meant",
            err=True,
        )
    if (warning := exposed_secrets(config, file)) is not None:
        click.echo(f"asbru: warning: {warning}", err=True)


def _print_json(value: object) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def _refuse(error: ConfigError) -> NoReturn:
    click.echo(f"asbru: the configuration is wrong\n{error}", err=True)
    sys.exit(CONFIGURATION)
