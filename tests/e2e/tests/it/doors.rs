//! Side doors: for twelve sensitive operations every road that the services offer, the odd ones included. What an agent may do by one of
//! them it may do by all, and denying the operation closes all. The tables are those of `policy test`, and so is the judge.

use std::path::PathBuf;

use e2e::House;
use serde_json::Value;

/// Rows of all tables, two or three for each of 782 roads; fewer would mean that a table was not read.
const ROWS: u64 = 1_780;

#[test]
fn denying_an_operation_closes_every_road_to_it() {
    let house = House::new("version: 1\n", &[]);
    let folder = e2e::house::root().join("tests/e2e/doors");
    let mut tables: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    tables.sort();
    assert!(tables.len() >= 13, "{tables:?}");
    let mut words = vec!["policy", "test", "--json"];
    words.extend(tables.iter().map(|table| table.to_str().unwrap()));
    let finished = house.valetkey(&words);
    let said: Value =
        serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {}", finished.stderr));
    let wrong: Vec<&Value> = said["tests"].as_array().unwrap().iter().filter(|one| one["passed"] == false).collect();
    assert!(wrong.is_empty(), "{} roads, the first: {}", wrong.len(), wrong[0]);
    assert!(said["passed"].as_u64().unwrap() >= ROWS, "{} rows", said["passed"]);
    let _ = finished.expect_success("policy test");
}
