"""The hop limit falls by exactly one in the whole box (docs/translation.md, 6)."""

from appliance.slowpath.headers import Header
from appliance.slowpath.verdict import Context, ErrorMessage, HopLimit, Reason, Refusal


def check_hop_limit(header: Header, context: Context, message: ErrorMessage) -> None:
    """On the slow path the kernel has judged and decremented already."""
    least = 1 if context.hop_limit is HopLimit.RESTORE else 2
    if header.hop_limit < least:
        raise Refusal(Reason.HOP_LIMIT, message)


def new_hop_limit(header: Header, context: Context) -> int:
    return min(255, header.hop_limit + context.hop_limit.value)
