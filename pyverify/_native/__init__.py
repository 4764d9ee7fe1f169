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
from pyverify._native.ima import IMA_ADDED as IMA_ADDED
from pyverify._native.ima import IMA_CHANGED as IMA_CHANGED
from pyverify._native.ima import IMA_ENTRY_DTYPE as IMA_ENTRY_DTYPE
from pyverify._native.ima import IMA_FLAGS as IMA_FLAGS
from pyverify._native.ima import IMA_KIND_BUFFER as IMA_KIND_BUFFER
from pyverify._native.ima import IMA_KIND_VERITY as IMA_KIND_VERITY
from pyverify._native.ima import IMA_LEGACY as IMA_LEGACY
from pyverify._native.ima import IMA_LIST_DTYPE as IMA_LIST_DTYPE
from pyverify._native.ima import IMA_MAX_ENTRIES as IMA_MAX_ENTRIES
from pyverify._native.ima import IMA_MAX_SIZE as IMA_MAX_SIZE
from pyverify._native.ima import IMA_NOT_JUDGED as IMA_NOT_JUDGED
from pyverify._native.ima import IMA_OK as IMA_OK
from pyverify._native.ima import Messages as Messages
from pyverify._native.ima import ima_algorithm as ima_algorithm
from pyverify._native.ima import ima_algorithm_name as ima_algorithm_name
from pyverify._native.ima import ima_algorithm_size as ima_algorithm_size
from pyverify._native.ima import ima_chains as ima_chains
from pyverify._native.ima import ima_check as ima_check
from pyverify._native.ima import ima_fault_code as ima_fault_code
from pyverify._native.ima import ima_from_ascii as ima_from_ascii
from pyverify._native.ima import ima_messages as ima_messages
from pyverify._native.ima import ima_mismatch as ima_mismatch
from pyverify._native.ima import ima_scan as ima_scan
from pyverify._native.lookup import NOT_FOUND as NOT_FOUND
from pyverify._native.lookup import collect as collect
from pyverify._native.lookup import find as find
from pyverify._native.lookup import index as index
from pyverify._native.seek import NO_PREFIX as NO_PREFIX
from pyverify._native.seek import seek as seek
from pyverify._native.seek import trace as trace
