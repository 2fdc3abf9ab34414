"""The contract with backends: what they are, what they receive, how they are found, how they are called."""

from heddle.core.plugin.backend import API_LEVEL, OLDEST_API_LEVEL, Backend, Cost, NoOptions, Region, Tolerance
from heddle.core.plugin.discovery import Plugins, PluginWarning, Status, get_backend, plugins
from heddle.core.plugin.figures import Figures, Link
from heddle.core.plugin.guard import Compiled, compile_region, estimate, patterns_of, refusal_of, run_passes
from heddle.core.plugin.hooks import hookimpl
from heddle.core.plugin.options import Option, list_options, read_options

__all__ = [
    "API_LEVEL",
    "OLDEST_API_LEVEL",
    "Backend",
    "Compiled",
    "Cost",
    "Figures",
    "Link",
    "NoOptions",
    "Option",
    "PluginWarning",
    "Plugins",
    "Region",
    "Status",
    "Tolerance",
    "compile_region",
    "estimate",
    "get_backend",
    "hookimpl",
    "list_options",
    "patterns_of",
    "plugins",
    "read_options",
    "refusal_of",
    "run_passes",
]
