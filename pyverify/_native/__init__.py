"""The only package that touches the C core (``csrc/api.h``): one module a part of it.

A status other than PV_OK is a mistake of ours and becomes an exception here; bad data is a row, never an exception.
"""

from pyverify._native.comparison import compare as compare
from pyverify._native.core import Blob as Blob
from pyverify._native.core import Offsets as Offsets
from pyverify._native.core import Usage as Usage
from pyverify._native.core import variants as variants
from pyverify._native.eventlog import EVENT_DTYPE as EVENT_DTYPE
from pyverify._native.eventlog import LOG_DTYPE as LOG_DTYPE
from pyverify._native.eventlog import MAX_EVENTS as MAX_EVENTS
from pyverify._native.eventlog import MAX_LOG_SIZE as MAX_LOG_SIZE
from pyverify._native.eventlog import NO_DIGEST as NO_DIGEST
from pyverify._native.eventlog import NOTES as NOTES
from pyverify._native.eventlog import fault_code as fault_code
from pyverify._native.eventlog import replay as replay
from pyverify._native.eventlog import scan as scan
from pyverify._native.hashing import extend as extend
from pyverify._native.hashing import group as group
from pyverify._native.hashing import hash_messages as hash_messages
