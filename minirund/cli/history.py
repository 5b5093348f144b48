"""`history`: the steps that an image was made in, the newest first."""

from __future__ import annotations

from minirund.cli.options import Command, Opt
from minirund.client import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirund.cli.context import Context
    from minirund.cli.options import Parsed
    from minirund.cli.tables import Fields

OPTIONS = (
    Opt("format", "string", "table, json, table TEMPLATE or TEMPLATE (Go's templates)"),
    Opt("human", "bool", "Sizes in units, and ages in place of dates", "H", default=True),
    Opt("no-trunc", "bool", "Show values whole"),
    Opt("quiet", "bool", "Show IDs only", "q"),
)
_WIDTH = 45


def history(context: Context, args: Parsed) -> int:
    """Show an image's history."""
    from minirund.cli.tables import show

    steps = context.client.get(f"/images/{quote(args.rest[0], b'/:@')}/history")
    human = args.flag("human")
    columns = ("ID", "CreatedSince" if human else "CreatedAt", "CreatedBy", "Size", "Comment")
    known = fields(whole=args.flag("no-trunc"), human=human)
    show(args.text("format"), known, columns, steps, quiet="ID" if args.flag("quiet") else "")
    return 0


def fields(*, whole: bool, human: bool) -> Fields:
    """What a step can show; ``whole`` leaves nothing out, ``human`` writes sizes in units."""
    from minirund.cli.human import ago, short_id, shortened, size, stamp

    def by(text: str) -> str:
        line = text.replace("\t", " ")
        return line if whole else shortened(line, _WIDTH)

    return {
        "ID": ("IMAGE", lambda step: step["Id"] if whole else short_id(step["Id"])),
        "CreatedSince": ("CREATED", lambda step: ago(step["Created"])),
        "CreatedAt": ("CREATED AT", lambda step: stamp(step["Created"])),
        "CreatedBy": ("CREATED BY", lambda step: by(step["CreatedBy"])),
        "Size": ("SIZE", lambda step: size(step["Size"]) if human else str(step["Size"])),
        "Comment": ("COMMENT", lambda step: step["Comment"]),
    }


COMMANDS = {"history": Command(history, "IMAGE", OPTIONS, least=1, most=1, takes="images")}
