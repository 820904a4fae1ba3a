"""From an interaction log to a recommender that runs inside an app. Importing this loads nothing else.

It switches off the telemetry of the packages below it; see `edgerec.telemetry`.
"""

from edgerec.telemetry import switch_off

__all__ = ["__version__"]

__version__ = "0.2.1"

switch_off()
