"""Has SIGINT end the process without a traceback until it handles signals itself.

Importing this module does that. The programs import it before anything else, because the other
imports take a second or more, in which Python would answer Ctrl-C with the traceback of an import.
"""

from __future__ import annotations

import signal

# A process that was started with SIGINT ignored goes on ignoring it until it handles it.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
