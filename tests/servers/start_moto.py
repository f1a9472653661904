"""moto, with two of S3's rules that it does not keep by itself. Started by tests/servers/s3.rs and benches/compare.sh."""

import sys
import threading

from moto.iam import access_control
from moto.s3.responses import S3Response
from moto.server import main

# It looks whether the name is taken and then stores, in threads: of creates at the same time two can be told that they won, which `esker`
# then rightly refuses. On S3 one wins.
one_at_a_time = threading.RLock()
put_object = S3Response.put_object


def put_object_alone(self):
    with one_at_a_time:
        return put_object(self)


S3Response.put_object = put_object_alone

# Where it is told to look at rights (`/moto-api/reset-auth`), whose key it is decides: signatures it would compare with those of addresses
# that it has decoded before.
access_control.IAMRequestBase.check_signature = lambda self: None

main(sys.argv[1:])
