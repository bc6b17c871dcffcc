import os

import stripe

# This library brings a bundle of its own; this line is the one documented setting.
stripe.ca_bundle_path = os.environ["SSL_CERT_FILE"]
client = stripe.StripeClient(os.environ["STRIPE_API_KEY"])
balance = client.v1.balance.retrieve()
assert balance.available[0].amount == 4200
print("done")
