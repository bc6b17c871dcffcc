// The AWS SDK for JavaScript v3, unchanged; keys, region and proxy come from the environment. Prints what came of each step.
import { DynamoDBClient, GetItemCommand } from "@aws-sdk/client-dynamodb";
import { DeleteBucketCommand, GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";

const options = { region: "us-east-1", maxAttempts: 1 };
const s3 = new S3Client(options);
const steps = {
  whoami: async () => (await new STSClient(options).send(new GetCallerIdentityCommand({}))).Arn,
  put: async () => {
    const put = { Bucket: "reports", Key: "js/a (1)!*'.txt", Body: "from js", ContentType: "text/plain" };
    await s3.send(new PutObjectCommand(put));
    return (await s3.send(new GetObjectCommand({ Bucket: put.Bucket, Key: put.Key }))).Body.transformToString();
  },
  list: async () => (await s3.send(new ListObjectsV2Command({ Bucket: "reports", Prefix: "js/" }))).KeyCount,
  item: async () => {
    const get = new GetItemCommand({ TableName: "Orders", Key: { id: { S: "1" } } });
    return (await new DynamoDBClient(options).send(get)).Item.n.N;
  },
  denied: () => s3.send(new DeleteBucketCommand({ Bucket: "reports" })),
};
const out = {};
for (const [name, step] of Object.entries(steps)) {
  out[name] = await step().catch((error) => `${error.name}: ${error.message}`);
}
console.log(JSON.stringify(out));
