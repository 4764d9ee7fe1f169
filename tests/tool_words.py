"""What an event's data says, put as tpm2_eventlog puts it: from the decoded fields, never from the data past them."""

from __future__ import annotations

from pyverify.evidence import event_types as types
from pyverify.evidence.decoded import Decoded
from pyverify.evidence.eventlog import Event

LISTS = ("PK", "KEK", "db", "dbx")  # variables whose signature lists the tool reads


def fields_of(decoded: Decoded) -> dict:
    return {field.name: field.value for field in decoded.fields}


def range_of(event: Event, decoded: Decoded, name: str) -> bytes:
    field = next(field for field in decoded.fields if field.name == name)
    return event.data[field.start : field.stop]


def spec_id(fields: dict):
    return [
        {
            "Signature": fields["signature"],
            "platformClass": fields["platform_class"],
            "specVersionMinor": fields["version_minor"],
            "specVersionMajor": fields["version_major"],
            "specErrata": fields["errata"],
            "uintnSize": fields["uintn_size"],
            "numberOfAlgorithms": fields["algorithm_count"],
            "Algorithms": [
                {f"Algorithm[{i}]": None, "algorithmId": algorithm["name"], "digestSize": algorithm["digest_size"]}
                for i, algorithm in enumerate(fields["algorithms"])
            ],
            "vendorInfoSize": len(fields["vendor_info"]) // 2,
        }
    ]


def blob(fields: dict):
    return {"BlobBase": fields["base"], "BlobLength": fields["length"]}


def named_blob(fields: dict):
    name = fields["description"]
    return {"BlobDescription": name.encode().hex(), **blob(fields)}


def image(event: Event, decoded: Decoded):
    fields = fields_of(decoded)
    path = range_of(event, decoded, "path")
    return {
        "ImageLocationInMemory": fields["location"],
        "ImageLengthInMemory": fields["length"],
        "ImageLinkTimeAddress": fields["link_address"],
        "LengthOfDevicePath": len(path),
        "DevicePath": (path.hex() + str(fields.get("excess", "")), fields["path"]),
    }


def gpt(fields: dict):
    names = {
        "Revision": "revision",
        "HeaderSize": "header_size",
        "HeaderCRC32": "header_crc",
        "MyLBA": "my_lba",
        "AlternateLBA": "alternate_lba",
        "FirstUsableLBA": "first_usable_lba",
        "LastUsableLBA": "last_usable_lba",
        "DiskGUID": "disk_guid",
        "PartitionEntryLBA": "entries_lba",
        "NumberOfPartitionEntry": "entry_count",
        "SizeOfPartitionEntry": "entry_size",
        "PartitionEntryArrayCRC32": "entries_crc",
    }
    return {
        "Header": {"Signature": "EFI PART", **{theirs: fields[ours] for theirs, ours in names.items()}},
        "NumberOfPartitions": fields["partition_count"],
        "Partitions": [
            {
                "PartitionTypeGUID": partition["type"],
                "UniquePartitionGUID": guid,
                "StartingLBA": partition["first_lba"],
                "EndingLBA": partition["last_lba"],
                "Attributes": partition["attributes"],
                "PartitionName": partition["name"],
            }
            for partition, guid in zip(fields["partitions"], fields["partition_guids"], strict=True)
        ],
    }


def signature_lists(lists: list):
    return [
        {
            "SignatureType": item["type"],
            "SignatureListSize": 28 + item["header_size"] + item["signature_size"] * len(item["signatures"]),
            "SignatureHeaderSize": item["header_size"],
            "SignatureSize": item["signature_size"],
            "Keys": [
                {"SignatureOwner": signature["owner"], "SignatureData": signature["data"]}
                for signature in item["signatures"]
            ],
        }
        for item in lists
    ] or None


def variable(event: Event, decoded: Decoded):
    fields = fields_of(decoded)
    known = {"guid", "name", "excess"}
    content = [field for field in decoded.fields if field.name not in known]
    start = next(field.stop for field in decoded.fields if field.name == "name")
    stop = max([start, *(field.stop for field in content)])
    data = event.data[start:stop].hex()
    said: object = data
    if "signature_lists" in fields and fields["name"] in LISTS:
        said = signature_lists(fields["signature_lists"])
    elif fields["name"] == "SecureBoot":
        said = {"Enabled": "Yes" if fields.get("value") else "No"}
    elif "order" in fields:
        said = [f"Boot{number.lower()}" for number in fields["order"]]
    elif "description" in fields:
        path = range_of(event, decoded, "path")
        said = {
            "Enabled": "Yes" if fields["attributes"] & 1 else "No",
            "FilePathListLength": len(path),
            "Description": fields["description"],
            "DevicePath": (path.hex() + fields["optional_data"], fields["path"]),
        }
    elif event.type_hint == types.EV_EFI_VARIABLE_AUTHORITY:
        if "owner" in fields and fields["name"] in (*LISTS, "Shim"):
            signature = fields["certificate"] if "certificate" in fields else fields["signature"]
            said = [{"SignatureOwner": fields["owner"], "SignatureData": signature}]
        elif fields["name"] == "MokListTrusted":
            said = {"Enabled": "Yes" if fields["data"] == "01" else "No"}
        elif fields["name"] == "SbatLevel":
            quoted = "\n".join(f'"{line}"' for line in fields["text"].splitlines())
            said = {"String": (quoted, fields["text"])}  # as 5.4 prints it, and later versions
    elif not data and fields["name"] in LISTS:
        said = None
    return {
        "VariableName": fields["guid"],
        "UnicodeNameLength": len(fields["name"]),
        "VariableDataLength": len(data) // 2,
        "UnicodeName": fields["name"],
        "VariableData": said,
    }


def text_in(event: Event, decoded: Decoded):
    """Text as the bytes it was read from, once it is what they say in one of the two encodings."""
    for field in decoded.fields:
        if field.name in ("text", "name", "label"):
            part = event.data[field.start : field.stop]
            said = str(field.value).encode("utf-16-le" if part[1:2] == b"\0" else "utf-8")
            assert part.rstrip(b": ") == said.rstrip(b": ") if field.name == "label" else part == said, decoded.text
    return event.data.decode("latin-1")


def in_the_tools_words(event: Event, decoded: Decoded):
    fields = fields_of(decoded)
    match decoded.kind:
        case "spec-id":
            return spec_id(fields)
        case "startup-locality":
            return {"StartupLocality": fields["locality"]}
        case "blob":
            return named_blob(fields) if "description" in fields else blob(fields)
        case "post-code" | "s-crtm-contents" if "base" in fields:
            return blob(fields)
        case "image":
            return image(event, decoded)
        case "gpt":
            return gpt(fields)
        case "variable" | "authority":
            return variable(event, decoded)
        case "action" if event.type_hint == types.EV_EFI_ACTION:
            return text_in(event, decoded)
        case "post-code":
            return text_in(event, decoded)
        case _ if event.type_hint == types.EV_IPL:
            return {"String": text_in(event, decoded)} if event.data else None
    return event.data.hex() or None
