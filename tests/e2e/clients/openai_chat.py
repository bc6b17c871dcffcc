import openai

answer = openai.OpenAI().chat.completions.create(model="model-1", messages=[{"role": "user", "content": "ping"}])
assert answer.choices[0].message.content == "pong"
print("done")
