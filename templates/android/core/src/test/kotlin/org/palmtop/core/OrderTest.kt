// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import java.io.File
import java.util.Base64
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Test

class OrderTest {
    private val plan =
        """{"warmup_min_s":0.1,"warmup_min_runs":2,"warmup_max_s":1,"min_runs":5,"min_seconds":0.1,"max_seconds":2,"news":1}"""

    private fun text(run: String = "00c0ffee", plan: String = this.plan) =
        """{"run":"$run","target":"onnx","model":"/m","model_sha256":"ab","golden":null,"out":"/o","plan":$plan,"later":[]}"""

    private fun word(text: String): String = Base64.getUrlEncoder().encodeToString(text.toByteArray())

    @Test
    fun unknownKeysAreIgnoredAndPaddingMayBeMissing() {
        for (given in listOf(word(text()), word(text()).trimEnd('='))) {
            val order = Order.read(given)
            assertEquals("00c0ffee", order.run)
            assertNull(order.golden)
            assertEquals(Plan(0.1, 2, 1.0, 5, 0.1, 2.0, 1, "cpu", 0), order.plan)
        }
    }

    @Test
    fun aRestIsAskedForInSeconds() {
        val given = text(plan = plan.replace("\"news\"", "\"idle_s\""))
        assertEquals(1.0, Order.read(word(given)).plan.idleSeconds, 0.0)
    }

    @Test
    fun aLongOrderLiesInAFile() {
        val file = File.createTempFile("order", ".json").apply { writeText(text()) }
        assertEquals("onnx", Order.read("@${file.path}").target)
        file.delete()
    }

    @Test
    fun whatIsNoOrderIsRefused() {
        val incomplete = text().replace("\"out\"", "\"in\"")
        for (given in listOf("", "%%", word("[]"), word("{}"), word(text("NOTAHEX!")), "@/nowhere", word(incomplete))) {
            assertEquals(ErrorCode.BAD_ARGS, assertThrows(BenchException::class.java) { Order.read(given) }.code)
        }
    }
}
