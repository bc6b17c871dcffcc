// node-postgres: simple and parametrised queries, a named statement twice, a refusal in a transaction.
import { createRequire } from "node:module";
const require = createRequire(process.env.NODE_TOOLS + "/");
const { Client } = require("pg");

const db = new Client({ ssl: false });
await db.connect();
console.log("count", (await db.query("select count(*)::int as n from customers")).rows[0].n);
for (const id of [3, 4]) {
  const named = { name: "by-id", text: "select name from customers where id = $1", values: [id] };
  console.log("named", (await db.query(named)).rows[0].name);
}
await db.query("begin");
await db.query("insert into orders (customer, amount) values ($1, $2)", [1, 1]);
try {
  await db.query("drop table customers");
} catch (error) {
  console.log("refused", error.code, error.message);
}
await db.query("rollback");
console.log("orders", (await db.query("select count(*)::int as n from orders")).rows[0].n);
await db.end();
