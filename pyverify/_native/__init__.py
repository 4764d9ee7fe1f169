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
from pyverify._native.quote import ATTEST_DTYPE as ATTEST_DTYPE
from pyverify._native.quote import BAD as BAD
from pyverify._native.quote import DIGEST_ROOM as DIGEST_ROOM
from pyverify._native.quote import GOOD as GOOD
from pyverify._native.quote import NO_BANK as NO_BANK
from pyverify._native.quote import PUBLIC_DTYPE as PUBLIC_DTYPE
from pyverify._native.quote import QUOTE_FAULTS as QUOTE_FAULTS
from pyverify._native.quote import RANGE as RANGE
from pyverify._native.quote import SIGNATURE_DER as SIGNATURE_DER
from pyverify._native.quote import SIGNATURE_DTYPE as SIGNATURE_DTYPE
from pyverify._native.quote import SIGNATURE_RSA as SIGNATURE_RSA
from pyverify._native.quote import SIGNATURE_TPMT as SIGNATURE_TPMT
from pyverify._native.quote import UNUSABLE as UNUSABLE
from pyverify._native.quote import Crypto as Crypto
from pyverify._native.quote import decode_attests as decode_attests
from pyverify._native.quote import decode_publics as decode_publics
from pyverify._native.quote import decode_signatures as decode_signatures
from pyverify._native.quote import decode_values as decode_values
from pyverify._native.quote import quote_fault_code as quote_fault_code
from pyverify._native.quote import verify_signatures as verify_signatures
