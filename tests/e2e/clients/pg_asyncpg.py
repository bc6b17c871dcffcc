"""asyncpg: its own implementation of the protocol; it looks types up in the catalogue, prepares everything, and resets what it returns."""

import asyncio
import io

import asyncpg


async def main():
    async with asyncpg.create_pool(min_size=1, max_size=2, ssl=False) as pool:
        async with pool.acquire() as db:
            print("row", await db.fetchval("select name from customers where id = $1", 7))
            print("array", await db.fetchval("select array_agg(id order by id) from customers where id < $1", 4))
            try:
                await db.execute("truncate orders")
            except asyncpg.InsufficientPrivilegeError as error:
                print("refused", error.sqlstate, error.detail)
            async with db.transaction():
                await db.execute("insert into orders (customer, amount) values ($1, $2)", 1, 7)
                found = [row["id"] async for row in db.cursor("select id from customers order by id", prefetch=10)]
                print("cursor", len(found))
            await db.copy_to_table("orders", source=io.BytesIO(b"1\t8\n2\t9\n"), columns=["customer", "amount"])
            out = io.BytesIO()
            await db.copy_from_query("select id from customers where id <= $1", 3, output=out)
            print("copied", out.getvalue().split())
        async with pool.acquire() as db:
            try:
                await asyncio.wait_for(db.fetch("select count(*) from generate_series(1, 1000000000000)"), 1)
            except asyncio.TimeoutError:
                print("cancelled")
            print("again", await db.fetchval("select 5"))


asyncio.run(main())
