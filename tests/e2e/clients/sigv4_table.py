"""Signs requests with botocore and two pairs of documented keys: the table that `crates/inject/tests/it/sigv4.rs` reads.

Usage: sigv4_table.py crates/inject/tests/data/sigv4.jsonl
"""
import datetime, json, random, sys, urllib.parse
import botocore.auth as auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
NOW = datetime.datetime(2026, 11, 20, 18, 38, 47)
auth.get_current_datetime = lambda *a, **k: NOW
PAIRS = [Credentials("AKIAI44QH8DHBEXAMPLE", "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY"),
         Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")]
TOKEN = "FwoGZXIvYXdzE+/=EXAMPLETOKEN0123456789"
rnd = random.Random(31)
def word(chars, n): return "".join(rnd.choice(chars) for _ in range(rnd.randint(1, n)))
CH = "abcXYZ019-._~!$&'()*+,:=@ é"
def s3path():
    return "/" + "/".join(urllib.parse.quote((word(CH, 9)).strip(" .") or "k", safe="-._~") for _ in range(rnd.randint(1, 4))) + rnd.choice(["", "", "/"])
def query():
    return "&".join(urllib.parse.quote(word("abcABC-_", 6), safe="-_.~") + "=" + urllib.parse.quote(word(CH, 8), safe="-_.~") for _ in range(rnd.randint(0, 4)))
out = []
for i in range(100):
    kind = rnd.choice(["s3", "s3", "lambda", "json", "query", "s3q", "q", "get"])
    region = rnd.choice(["us-east-1", "eu-central-1", "us-gov-west-1"])
    body, headers, method = "", {}, "GET"
    if kind in ("s3", "s3q"):
        host = rnd.choice([f"s3.{region}.amazonaws.com", f"bucket.s3.{region}.amazonaws.com", f"my.bucket.s3.dualstack.{region}.amazonaws.com"])
        method = rnd.choice(["GET", "PUT", "DELETE", "HEAD", "POST"])
        url, service = f"https://{host}{s3path()}", "s3"
        q = query()
        if q: url += "?" + q
        if method == "PUT" and kind == "s3":
            body = word("abc \n{}", 60)
            headers["Content-Type"] = "text/plain; charset=utf-8"
            headers["x-amz-meta-note"] = rnd.choice(["a", "  two   blanks ", "x,y"])
    elif kind == "lambda":
        service, host = "lambda", f"lambda.{region}.amazonaws.com"
        name = rnd.choice(["f", "arn:aws:lambda:us-east-1:123456789012:function:f:PROD", "a_b-1"])
        method = rnd.choice(["POST", "GET"])
        body = json.dumps({"n": i}) if method == "POST" else ""
        url = f"https://{host}/2015-03-31/functions/{urllib.parse.quote(name, safe='')}/invocations"
    elif kind == "json":
        service, target = rnd.choice([("dynamodb", "DynamoDB_20120810.PutItem"), ("secretsmanager", "secretsmanager.GetSecretValue"), ("logs", "Logs_20140328.PutLogEvents")])
        host, method, body = f"{service}.{region}.amazonaws.com", "POST", json.dumps({"x": word(CH, 30)})
        headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}
        url = f"https://{host}/"
    else:
        service = rnd.choice(["sts", "ec2", "sns", "sqs"])
        host, method = f"{service}.{region}.amazonaws.com", "POST" if kind == "query" else "GET"
        form = "Action=DescribeThings&Version=2011-06-15&A.1=" + urllib.parse.quote(word(CH, 9), safe="-_.~")
        url = f"https://{host}/" + ("" if kind == "query" else "?" + form)
        if kind == "query":
            body = form
            headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
    token = rnd.random() < 0.3
    made = []
    for pair in PAIRS:
        cred = Credentials(pair.access_key, pair.secret_key, TOKEN if token else None)
        request = AWSRequest(method=method, url=url, headers=dict(headers), data=body)
        if kind == "s3": request.context["client_config"] = None
        cls = {"s3": auth.S3SigV4Auth, "s3q": auth.S3SigV4QueryAuth, "q": auth.SigV4QueryAuth}.get(kind, auth.SigV4Auth)
        signer = cls(cred, service, region, expires=300) if kind in ("s3q", "q") else cls(cred, service, region)
        if kind == "s3": signer._should_sha256_sign_payload = lambda request: True
        signer.add_auth(request)
        p = urllib.parse.urlsplit(request.url)
        made.append({"target": p.path + ("?" + p.query if p.query else ""), "headers": {k.lower(): v for k, v in request.headers.items()}})
    out.append({"method": method, "host": host, "body": body, "token": TOKEN if token else None, "by_agent": made[0], "wanted": made[1]})
with open(sys.argv[1], "w") as f:
    for o in out: f.write(json.dumps(o, ensure_ascii=False, separators=(",", ":")) + "\n")
