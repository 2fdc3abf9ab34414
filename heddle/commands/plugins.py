"""`heddle plugins`: which backends and devices are installed, and what is wrong with those that are broken."""

from __future__ import annotations

import warnings
from dataclasses import asdict

import typer

from heddle.commands import test
from heddle.commands.arguments import AsJson
from heddle.commands.display import OUT, print_json, print_table
from heddle.core.errors import HeddleError, UnavailableError
from heddle.core.plugin import PluginWarning, Status, plugins
from heddle.core.runtime.devices import known_devices, open_device

app = typer.Typer(no_args_is_help=True, help="Show the plugins that are installed, and examine broken ones.")
app.command("test")(test.command)


@app.command("list")
def list_(json: AsJson = False) -> None:
    """List the backends and devices that Heddle finds.

    Example:

        heddle plugins list --json
    """
    statuses = _statuses()
    if json:
        missing = {name: state for name, state in _missing().items() if state}
        devices = list(known_devices())
        print_json({"backends": [_plain(status) for status in statuses], "devices": devices, "unavailable": missing})
        return
    rows = [
        (
            status.name,
            status.origin,
            "everything" if status.takes_all else ", ".join(status.patterns),
            ", ".join(f"{option.name}={option.default}" for option in status.options),
            _state(status),
        )
        for status in statuses
    ]
    print_table("backends", ("name", "from", "takes", "options", "state"), rows)
    OUT.print()
    found = [
        (name, known_devices()[name].value, f"unavailable: {state}" if state else "ok")
        for name, state in _missing().items()
    ]
    print_table("devices", ("name", "from", "state"), found)


@app.command()
def doctor(json: AsJson = False) -> None:
    """Load every plugin and open every device, and show what fails, with its traceback. The exit code is 1 if any does.

    A device whose hardware or driver is missing is unavailable, which is no failure.

    Example:

        heddle plugins doctor
    """
    statuses = _statuses()
    devices: dict[str, str] = {}
    unavailable: dict[str, str] = {}
    for name in known_devices():
        try:
            open_device(name).close()
            devices[name] = ""
        except UnavailableError as error:
            unavailable[name] = str(error)
        except HeddleError as error:
            devices[name] = str(error)
    broken = any(not status.ok for status in statuses) or any(devices.values())
    if json:
        backends = [_plain(status) for status in statuses]
        print_json({"backends": backends, "devices": devices, "unavailable": unavailable})
    else:
        for status in statuses:
            _tell(f"backend {status.name} ({status.origin})", status.error, status.traceback)
        for name, failure in devices.items():
            _tell(f"device {name}", failure, "")
        for name, reason in unavailable.items():
            OUT.print(f"device {name}: unavailable: {reason}", highlight=False, markup=False, soft_wrap=True)
    if broken:
        raise typer.Exit(1)


def _missing() -> dict[str, str]:
    """For each device why it cannot be used on this machine; nothing where it can."""
    found = {}
    for name in known_devices():
        found[name] = ""
        try:
            open_device(name).close()
        except UnavailableError as error:
            found[name] = str(error)
        except HeddleError:
            found[name] = "it is broken; `heddle plugins doctor` says how"
    return found


def _state(status: Status) -> str:
    if not status.ok:
        return f"broken: {status.error}"
    return f"experimental: {status.experimental}" if status.experimental else "ok"


def _tell(what: str, failure: str, traceback: str) -> None:
    OUT.print(f"{what}: {f'broken: {failure}' if failure else 'ok'}", highlight=False, markup=False, soft_wrap=True)
    if traceback:
        OUT.print(traceback.rstrip(), highlight=False, markup=False, soft_wrap=True)


def _statuses() -> tuple[Status, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)  # the statuses say it
        return plugins().statuses()


def _plain(status: Status) -> dict[str, object]:
    options = {option.name: str(option.default) for option in status.options}
    return asdict(status) | {"options": options, "ok": status.ok}
