"""Builds the components of a command: connects shops, profiles and state to the controller. Opens lazily.

`Connections` live as long as the process. `Components` belong to one load of the settings files: a reload builds new ones
around the same connections.
"""

from reconciler.wiring.components import Components, open_components, with_pauses
from reconciler.wiring.connections import Connections

__all__ = ["Components", "Connections", "open_components", "with_pauses"]
