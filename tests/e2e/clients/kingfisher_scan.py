"""Every finding of Kingfisher below a folder, one JSON line each; its own defaults, no validation, no network."""

import json
import sys

import kingfisher_sdk

scanner = kingfisher_sdk.DetectionScanner()
for result in scanner.scan_inputs(kingfisher_sdk.filesystem([sys.argv[1]], hidden=True, gitignore=False)):
    for finding in result.findings:
        if finding.visible:
            print(json.dumps({"path": result.input.path, "line": finding.location["line"]}))
