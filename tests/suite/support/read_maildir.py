"""Prints what Python's mailbox.Maildir sees in a Maildir and its folders: one JSON object for each message,
in the order of the keys, which is that of the deliveries."""

import json
import mailbox
import sys


def arrival(key):
    """Seconds and microseconds, as they stand in a unique name."""
    seconds, rest = key.split(".M", 1)
    return int(seconds), int(rest.split("P", 1)[0])


inbox = mailbox.Maildir(sys.argv[1], create=False)
folders = [("", inbox)] + [(name, inbox.get_folder(name)) for name in inbox.list_folders()]
for name, folder in folders:
    for key, message in sorted(folder.iteritems(), key=lambda item: arrival(item[0])):
        seen = {
            "folder": name,
            "directory": message.get_subdir(),
            "flags": message.get_flags(),
            "fields": [[field, str(value)] for field, value in message.items()],
            "octets": folder.get_bytes(key).hex(),
        }
        print(json.dumps(seen))
