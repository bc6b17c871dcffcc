"""A person at a browser, as far as a log-in needs one: opens an address, fills the forms that come, and follows to the end.

usage: browser.py URL CA PORT NAME; every host but the loopback is at PORT of this machine. Prints the last page's status and text.
"""

import html
import re
import sys
import urllib.parse

import requests
import urllib3.util.connection as connection

url, authority, port, name = sys.argv[1:5]
plain = connection.create_connection


def here(address, *rest, **named):
    host, wanted = address
    return plain(("127.0.0.1", wanted if host == "127.0.0.1" else int(port)), *rest, **named)


connection.create_connection = here
browser = requests.Session()
browser.trust_env = False
browser.verify = authority
page = browser.get(url)
for _ in range(8):
    form = re.search(r"<form[^>]*>.*?</form>", page.text, re.S)
    if not form:
        break
    action = re.search(r'action="([^"]*)"', form[0])
    fields = {}
    for field in re.findall(r"<input[^>]*>", form[0]):
        word = dict(re.findall(r'(\w+)="([^"]*)"', field))
        if "name" in word:
            fields[word["name"]] = html.unescape(word.get("value", ""))
    if "login" in fields:
        fields.update(login=name, password="any")
    target = urllib.parse.urljoin(page.url, html.unescape(action[1]) if action else page.url)
    page = browser.post(target, data=fields)
print(page.status_code, re.sub(r"<[^>]*>", "", page.text).strip()[-200:])
