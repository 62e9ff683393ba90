"""What can go wrong with a lab."""

from appliance.errors import ApplianceError


class LabError(ApplianceError):
    """A lab cannot be made, found or used."""
