"""A day's work with boto3, unchanged. Keys, region, proxy and certificates come from the environment; prints what came of each step.

usage: aws_boto3.py [STEP..]
"""

import hashlib
import io
import json
import os
import sys

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

CONFIG = Config(retries={"max_attempts": 1}, s3={"addressing_style": "virtual"})
BUCKET = "reports"
MIB = 1024 * 1024


def client(service):
    # Addresses of S3 would otherwise be signed by version 2.
    config = CONFIG.merge(Config(signature_version="s3v4")) if service == "s3" else CONFIG
    return boto3.client(service, region_name="us-east-1", config=config)


def whoami():
    return client("sts").get_caller_identity()["Arn"]


def secret():
    manager = client("secretsmanager")
    manager.create_secret(Name="prod/db", SecretString="hunter22")
    return manager.get_secret_value(SecretId="prod/db")["SecretString"]


def objects():
    s3 = client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="a/b c+d=é@x.txt", Body=b"one", Metadata={"note": "two  blanks"})
    got = s3.get_object(Bucket=BUCKET, Key="a/b c+d=é@x.txt")["Body"].read()
    s3.copy_object(Bucket=BUCKET, Key="a/copy", CopySource={"Bucket": BUCKET, "Key": "a/b c+d=é@x.txt"})
    part = s3.get_object(Bucket=BUCKET, Key="a/copy", Range="bytes=1-2")["Body"].read()
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "a/copy"}]})
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET, Prefix="a/")["Contents"]]
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "a/b c+d=é@x.txt"}, ExpiresIn=3600)
    return [got.decode(), part.decode(), keys, url]


def multipart():
    """Parts of 5 MiB, each with a checksum behind it; back in pieces."""
    s3, body = client("s3"), os.urandom(11 * MIB)
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=2)
    s3.upload_fileobj(io.BytesIO(body), BUCKET, "big", Config=config, ExtraArgs={"ChecksumAlgorithm": "CRC32"})
    back = io.BytesIO()
    s3.download_fileobj(BUCKET, "big", back, Config=config)
    return hashlib.sha256(body).hexdigest() == hashlib.sha256(back.getvalue()).hexdigest()


def items():
    db = client("dynamodb")
    db.create_table(
        TableName="Orders",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    db.put_item(TableName="Orders", Item={"id": {"S": "1"}, "n": {"N": "3"}})
    db.batch_write_item(RequestItems={"Orders": [{"PutRequest": {"Item": {"id": {"S": "2"}}}}]})
    db.transact_write_items(TransactItems=[{"Delete": {"TableName": "Orders", "Key": {"id": {"S": "2"}}}}])
    return db.get_item(TableName="Orders", Key={"id": {"S": "1"}})["Item"]["n"]["N"]


def queue():
    sqs = client("sqs")
    url = sqs.create_queue(QueueName="jobs")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="hello")
    return sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"]


def function():
    """Invoked and not listed: moto takes no signature of a GET of Lambda for right, not even one that comes to it directly."""
    return client("lambda").invoke(FunctionName="hello", Payload=b"{}")["StatusCode"]


def denied_xml():
    client("s3").delete_bucket(Bucket=BUCKET)


def denied_json():
    client("dynamodb").delete_table(TableName="Orders")


def denied_query():
    client("iam").create_access_key(UserName="agent")


STEPS = [whoami, secret, objects, multipart, items, queue, function, denied_xml, denied_json, denied_query]


def main():
    out = {}
    for step in STEPS:
        if sys.argv[1:] and step.__name__ not in sys.argv[1:]:
            continue
        try:
            out[step.__name__] = step()
        except Exception as error:
            out[step.__name__] = f"{type(error).__name__}: {error}"
    out["environment"] = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    print(json.dumps(out))


main()
