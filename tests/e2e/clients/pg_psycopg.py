"""psycopg 3: prepared statements, COPY both ways, pipeline mode with a refused statement in the middle, cancel, transactions."""

import threading
import time

import psycopg

with psycopg.connect(autocommit=True) as db:
    for number in range(8):  # prepared by the protocol from the sixth on
        assert db.execute("select name from customers where id = %s", [number + 1]).fetchone() == (f"name {number + 1}",)
    with db.cursor().copy("copy orders (customer, amount) from stdin") as copy:
        for number in range(1000):
            copy.write_row((number % 100 + 1, number))
    with db.cursor().copy("copy (select * from orders) to stdout") as copy:
        print("copied", sum(1 for _ in copy.rows()))
    with db.transaction():
        db.execute("insert into orders (customer, amount) values (1, 5)")
    try:
        with db.transaction():
            db.execute("insert into orders (customer, amount) values (1, 6)")
            db.execute("drop table customers")
    except psycopg.errors.InsufficientPrivilege as error:
        print("refused", error.sqlstate, error.diag.message_primary)
    print("kept", db.execute("select count(*) from orders").fetchone()[0])
    with db.pipeline() as pipeline:
        first = db.execute("select 1")
        bad = db.execute("truncate orders")
        third = db.execute("select 3")
        try:
            pipeline.sync()
        except psycopg.errors.InsufficientPrivilege as error:
            print("pipeline", error.sqlstate)
        print("before", first.fetchone())
    print("after", db.execute("select 4").fetchone())
    db.execute("begin")
    cursor = db.cursor(name="many")
    cursor.execute("select i from generate_series(1, 5000) i")
    print("cursor", sum(row[0] for row in cursor))
    cursor.close()
    db.execute("commit")
    threading.Timer(0.5, db.cancel).start()
    begun = time.monotonic()
    try:
        db.execute("select count(*) from generate_series(1, 1000000000000)")
    except psycopg.errors.QueryCanceled:
        print("cancelled", time.monotonic() - begun < 20)
    for number in range(3):
        try:
            db.execute("delete from orders where amount = %s", [number], prepare=True)
            print("deleted")
        except psycopg.Error as error:
            print("limit", error.sqlstate)
    try:
        db.execute("select * from secrets where word = 'a literal that is secret'; delete from customers")
    except psycopg.Error as error:
        print("several", error.sqlstate)
