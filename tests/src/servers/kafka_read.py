"""Reads all of a topic with librdkafka, and prints each message as a line of JSON.

Arguments: addresses, topic, partitions, after how many seconds of silence it is the end, and for TLS a file of authorities. Partitions are assigned, since
not every broker that cases use knows consumer groups.
"""
import json
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

addresses, topic, partitions, silence = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
settings = {"bootstrap.servers": addresses, "group.id": "case", "enable.auto.commit": False}
if len(sys.argv) > 5:
    settings |= {"security.protocol": "ssl", "ssl.ca.location": sys.argv[5]}
consumer = Consumer(settings)
consumer.assign([TopicPartition(topic, at, OFFSET_BEGINNING) for at in range(partitions)])
while (message := consumer.poll(silence)) is not None:
    if message.error():
        print(message.error(), file=sys.stderr)
        continue
    print(json.dumps({
        "partition": message.partition(),
        "offset": message.offset(),
        "key": message.key().decode(),
        "value": message.value().decode(),
        "headers": {name: value.decode() for name, value in message.headers() or []},
        "timestamp": message.timestamp()[1],
    }), flush=True)
