"""Creates the numbers that a load run dials, over the REST API of a running engine.

scripts/bench_provision.py --data ./var --base http://127.0.0.1:8099 1001=ivr.xml 2000=loop.xml
"""

import argparse
import base64
import json
import pathlib
import urllib.error
import urllib.parse
import urllib.request


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="./var", help="data folder of the engine")
    parser.add_argument("--base", default="http://127.0.0.1:8099", help="base URL of the documents")
    parser.add_argument("numbers", nargs="+", metavar="NUMBER=PATH")
    arguments = parser.parse_args()
    known = json.loads(pathlib.Path(arguments.data, "credentials.json").read_text("utf-8"))
    token = base64.b64encode(f"{known['account_sid']}:{known['auth_token']}".encode()).decode()
    url = f"{known['base_url']}/Accounts/{known['account_sid']}/IncomingPhoneNumbers.json"
    for pair in arguments.numbers:
        number, _, path = pair.partition("=")
        form = {
            "PhoneNumber": number,
            "isSIP": "true",
            "VoiceUrl": f"{arguments.base}/{path}",
            "VoiceMethod": "GET",
        }
        request = urllib.request.Request(
            url, urllib.parse.urlencode(form).encode(), {"Authorization": f"Basic {token}"}
        )
        try:
            with urllib.request.urlopen(request) as reply:
                print(number, reply.status)
        except urllib.error.HTTPError as error:
            print(number, error.code, error.read().decode()[:200])


if __name__ == "__main__":
    main()
