"""Runs librdkafka's mock cluster, and does what lines on stdin say. Prints its addresses first, then `ok` for each line.

    errors KEY CODE...            the next calls of this API key are answered with these errors, one each
    late BROKER KEY CODE MS...    the same of one broker, each after so many milliseconds (pairs of code and time)
    leader TOPIC PARTITION BROKER
    down BROKER / up BROKER

The functions are librdkafka's own (rdkafka_mock.h); its Python package does not offer them, so they are called by name.
"""
import ctypes
import glob
import os
import sys

import confluent_kafka

folder = os.path.join(os.path.dirname(os.path.dirname(confluent_kafka.__file__)), "confluent_kafka.libs")
lib = ctypes.CDLL(glob.glob(os.path.join(folder, "librdkafka-*"))[0])
pointer = ctypes.c_void_p
lib.rd_kafka_conf_new.restype = pointer
lib.rd_kafka_new.restype = pointer
lib.rd_kafka_new.argtypes = [ctypes.c_int, pointer, ctypes.c_char_p, ctypes.c_size_t]
lib.rd_kafka_mock_cluster_new.restype = pointer
lib.rd_kafka_mock_cluster_new.argtypes = [pointer, ctypes.c_int]
lib.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
lib.rd_kafka_mock_cluster_bootstraps.argtypes = [pointer]
lib.rd_kafka_mock_topic_create.argtypes = [pointer, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]
lib.rd_kafka_mock_push_request_errors_array.argtypes = [pointer, ctypes.c_int16, ctypes.c_size_t, pointer]
lib.rd_kafka_mock_partition_set_leader.argtypes = [pointer, ctypes.c_char_p, ctypes.c_int32, ctypes.c_int32]
lib.rd_kafka_mock_broker_set_down.argtypes = [pointer, ctypes.c_int32]
lib.rd_kafka_mock_broker_set_up.argtypes = [pointer, ctypes.c_int32]
lib.rd_kafka_mock_broker_push_request_error_rtts.argtypes = [
    pointer, ctypes.c_int32, ctypes.c_int16, ctypes.c_size_t,
]

brokers, topic, partitions = int(sys.argv[1]), sys.argv[2].encode(), int(sys.argv[3])
said = ctypes.create_string_buffer(512)
handle = lib.rd_kafka_new(0, lib.rd_kafka_conf_new(), said, len(said))
cluster = lib.rd_kafka_mock_cluster_new(handle, brokers)
assert lib.rd_kafka_mock_topic_create(cluster, topic, partitions, min(brokers, 3)) == 0
print(lib.rd_kafka_mock_cluster_bootstraps(cluster).decode(), flush=True)
for line in sys.stdin:
    word, *rest = line.split()
    if word == "errors":
        codes = [int(code) for code in rest[1:]]
        array = (ctypes.c_int * len(codes))(*codes)
        lib.rd_kafka_mock_push_request_errors_array(cluster, int(rest[0]), len(codes), array)
    elif word == "late":
        numbers = [ctypes.c_int(int(number)) for number in rest[2:]]
        assert lib.rd_kafka_mock_broker_push_request_error_rtts(
            cluster, int(rest[0]), int(rest[1]), len(numbers) // 2, *numbers) == 0
    elif word == "leader":
        assert lib.rd_kafka_mock_partition_set_leader(cluster, rest[0].encode(), int(rest[1]), int(rest[2])) == 0
    elif word == "down":
        assert lib.rd_kafka_mock_broker_set_down(cluster, int(rest[0])) == 0
    elif word == "up":
        assert lib.rd_kafka_mock_broker_set_up(cluster, int(rest[0])) == 0
    else:
        raise SystemExit(f"unknown: {line}")
    print("ok", flush=True)
