# SPDX-License-Identifier: Apache-2.0
"""What this machine has of GPUs, as the doctor tells it.

With the real libcudart where that is installed, and with the FAKE one.
"""

import json
import os
import subprocess

import pytest

WEIGHTFS = os.environ['WEIGHTFS']
FAKE = os.path.join(os.environ['WEIGHTFS_BUILD'], 'fake_cudart')


def gpu_rows(env):
    done = subprocess.run(
        [WEIGHTFS, 'doctor', '--json'],
        env={**os.environ, **env}, stdout=subprocess.PIPE, check=False)
    rows = json.loads(done.stdout)['conditions']
    return [row for row in rows if row['name'] == 'gpu']


@pytest.mark.skipif(os.path.exists('/dev/nvidiactl'),
                    reason='there is a GPU here')
def test_a_machine_without_gpus_has_one_line_that_says_so():
    rows = gpu_rows({'FAKE_CUDART': ''})
    assert len(rows) == 1
    assert rows[0]['level'] == 'ok'
    assert 'finds no device' in rows[0]['text'] or \
        'no CUDA' in rows[0]['text']


def test_every_gpu_has_a_line_with_its_bus_id(tmp_path):
    rows = gpu_rows({'LD_LIBRARY_PATH': FAKE, 'FAKE_CUDART': str(tmp_path)})
    assert [row['text'].split(',')[0] for row in rows] == [
        "'FAKE GPU 0' at 0000:F0:00.0", "'FAKE GPU 1' at 0000:F1:00.0"]


def test_a_fake_without_devices_is_as_a_machine_without(tmp_path):
    rows = gpu_rows({'LD_LIBRARY_PATH': FAKE,
                     'FAKE_CUDART': str(tmp_path / 'none')})
    assert len(rows) == 1
    assert 'finds no device' in rows[0]['text']
