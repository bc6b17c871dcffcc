"""Fifty calls of STS at once, each by a client of its own; prints what each came to, and how many there were of each.

usage: aws_many.py
"""

import collections
import json
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

CONFIG = Config(retries={"max_attempts": 1}, max_pool_connections=50)


def call(client):
    try:
        return client.get_caller_identity()["Arn"]
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main():
    clients = [boto3.client("sts", region_name="us-east-1", config=CONFIG) for _ in range(50)]
    with ThreadPoolExecutor(50) as pool:
        print(json.dumps(collections.Counter(pool.map(call, clients))))


main()
