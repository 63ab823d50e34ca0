// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import java.io.File
import java.util.Base64

/** How long to measure, and how. [threads] 0 is the runtime's default; [idleSeconds] to rest before, where a meter can count. */
data class Plan(
    val warmupMinSeconds: Double,
    val warmupMinRuns: Int,
    val warmupMaxSeconds: Double,
    val minRuns: Int,
    val minSeconds: Double,
    val maxSeconds: Double,
    val threads: Int,
    val accelerator: String,
    val seed: Long,
    val idleSeconds: Double = 0.0,
)

/** What the host asks for: one session that measures [model] and writes the result file [out]. */
data class Order(
    val run: String,
    val target: String,
    val model: File,
    val modelSha256: String,
    val golden: File?,
    val out: File,
    val plan: Plan,
) {
    companion object {
        private val RUN = Regex("[0-9a-f]{8}")
        private const val FILE_MAX = 1L shl 20

        /**
         * Reads the one argument of a bench app: base64url of JSON, or `@` and the path of a file of JSON.
         *
         * @throws BenchException with [ErrorCode.BAD_ARGS]; keys that are not known are ignored.
         */
        fun read(word: String): Order = try {
            order(Json.parseObject(text(word), "the order"))
        } catch (error: IllegalArgumentException) {
            throw BenchException(ErrorCode.BAD_ARGS, "the order cannot be read: ${error.message}", error)
        }

        private fun text(word: String): String {
            if (!word.startsWith("@")) return String(Base64.getUrlDecoder().decode(word.trimEnd('=')), Charsets.UTF_8)
            val file = File(word.substring(1))
            require(file.length() in 1..FILE_MAX) { "its file $file is missing, empty or too large" }
            return file.readText()
        }

        private fun order(plain: Map<String, Any?>): Order {
            val run: String = plain.need("run")
            require(RUN.matches(run)) { "the run is not eight hex digits" }
            return Order(
                run = run,
                target = plain.need("target"),
                model = File(plain.need<String>("model")),
                modelSha256 = plain.need("model_sha256"),
                golden = (plain["golden"] as String?)?.let(::File),
                out = File(plain.need<String>("out")),
                plan = plan(plain.needObject("plan")),
            )
        }

        private fun plan(plain: Map<String, Any?>) = Plan(
            warmupMinSeconds = plain.needDouble("warmup_min_s"),
            warmupMinRuns = plain.needInt("warmup_min_runs"),
            warmupMaxSeconds = plain.needDouble("warmup_max_s"),
            minRuns = plain.needInt("min_runs"),
            minSeconds = plain.needDouble("min_seconds"),
            maxSeconds = plain.needDouble("max_seconds"),
            threads = (plain["threads"] as Number?)?.toInt() ?: 1,
            accelerator = plain["accelerator"] as String? ?: "cpu",
            seed = (plain["seed"] as Number?)?.toLong() ?: 0L,
            idleSeconds = (plain["idle_s"] as Number?)?.toDouble() ?: 0.0,
        )
    }
}
