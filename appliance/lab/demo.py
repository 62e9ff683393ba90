"""x"""

from rich.console import Console

from appliance.lab.client import Lab


def show(lab: Lab, console: Console) -> bool:
    return False
