# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One message, published and received again, by paho-mqtt: get_mqtt.py TRANSPORT HOST PORT CA [CERTIFICATE KEY]."""

from __future__ import annotations

import sys
import time

from paho.mqtt import client as mqtt

transport, host, port, ca, *identity = sys.argv[1:]
received: list[str] = []
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, transport=transport)
client.ws_set_options(path="/inside")
client.tls_set(ca, *identity)
client.on_connect = lambda connected, *more: connected.subscribe("inside")
client.on_subscribe = lambda subscribed, *more: subscribed.publish("inside", "a message")
client.on_message = lambda receiver, userdata, message: received.append(message.payload.decode())
client.connect(host, int(port), keepalive=10)
deadline = time.monotonic() + 20
while not received:
    if (result := client.loop(1)) != mqtt.MQTT_ERR_SUCCESS:
        sys.exit(f"error: {mqtt.error_string(result)}")
    if time.monotonic() > deadline:
        sys.exit("error: no message")
client.disconnect()
client.loop(1)
sys.stdout.write(received[0])
