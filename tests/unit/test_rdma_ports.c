/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this machine has for RDMA, and what a test's FAKE devices are.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "tests/unit/fake_rdma.h"
#include "transport/rdma/rdma.h"

static void each_port_with_an_address_is_told(void **state)
{
	static const struct fake_rail rails[] = {
		{ .reads = 3, .region_max = 5000 },
		{ .reads = 16, .dmabuf_error = EOPNOTSUPP },
	};
	struct wfs_rdma_port *ports;
	size_t n;

	(void)state;
	fake_rdma_open(rails, 2);
	assert_int_equal(wfs_rdma_ports(&ports, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_string_equal(ports[0].device, "FAKE0");
	assert_string_equal(ports[0].address, "192.0.2.1");
	assert_int_equal(ports[0].reads, 3);
	assert_int_equal(ports[0].region_max, 5000);
	assert_int_equal(ports[0].gpu_error, 0);
	assert_string_equal(ports[1].device, "FAKE1");
	assert_string_equal(ports[1].address, "192.0.2.2");
	assert_int_equal(ports[1].gpu_error, EOPNOTSUPP);
	free(ports);
	fake_rdma_close();
}

static void without_a_device_there_is_a_sentence(void **state)
{
	struct wfs_rdma_port *ports;
	struct wfs_err err = { 0 };
	size_t n;

	(void)state;
	assert_int_equal(wfs_rdma_ports(&ports, &n, &err), -ENODEV);
	assert_non_null(strstr(err.text, "no RDMA device"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(each_port_with_an_address_is_told),
		T(without_a_device_there_is_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
