import anthropic

answer = anthropic.Anthropic().messages.create(
    model="model-1", max_tokens=16, messages=[{"role": "user", "content": "ping"}]
)
assert answer.content[0].text == "pong"
print("done")
