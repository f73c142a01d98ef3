"""Nova's API: what it says of its instances, and the one thing that is ever asked of it, a stop.

Nothing of OpenStack's is imported before `NovaApi.connect`, since most commands of this program ask no Nova.
"""

from es_power.nova.api import NovaApi, Patience
from es_power.nova.records import InstanceAction, ServerRecord

__all__ = ["InstanceAction", "NovaApi", "Patience", "ServerRecord"]
