package palmtop.fakes

import java.io.File
import java.nio.ByteBuffer
import java.util.zip.CRC32
import org.palmtop.core.BenchException
import org.palmtop.core.Frames
import org.palmtop.core.Hash
import org.palmtop.core.Json
import org.palmtop.core.Order
import org.palmtop.core.Series
import org.palmtop.core.Stats

/** What the app's own code makes of each case of `conformance.json`, for Python to hold against what it should be. */
fun conformance(file: File): Map<String, Any?> {
    val corpus = Json.parseObject(file.readText(), "the corpus")
    fun <T> each(name: String, answer: (Map<String, Any?>) -> T): List<T> = (corpus[name] as List<*>).map {
        @Suppress("UNCHECKED_CAST")
        answer(it as Map<String, Any?>)
    }
    return mapOf(
        "frames" to each("frames") { Frames.encode(it["run"] as String, (it["seq"] as Long).toInt(), it["text"] as String) },
        "strings" to each("strings") { case ->
            Json.write((case["code_points"] as List<*>).joinToString("") { String(Character.toChars((it as Long).toInt())) })
        },
        "numbers" to each("numbers") { Json.write(Double.fromBits((it["bits"] as String).toULong(16).toLong())) },
        "series" to each("series") { case -> series((case["latencies_ns"] as List<*>).map { it as Long }.toLongArray()) },
        "hashes" to each("hashes") { hashes(it["hex"] as String) },
        "orders" to each("orders") { order(it["word"] as String) },
        "lines" to each("lines") { case -> Frames.scan(case["line"] as String).map { listOf(it.run, it.seq, it.index, it.count, it.payload) } },
    )
}

private fun series(latenciesNs: LongArray): Map<String, Any?> {
    val records = ArrayList<Map<String, Any?>>()
    val series = Series { first, steps -> records.add(mapOf("first_index" to first, "dns" to steps)) }
    latenciesNs.forEach { if (series.keep(it)) series.flush() }
    series.flush()
    check(series.latenciesNs.contentEquals(latenciesNs))
    return mapOf("samples" to records, "result" to Stats.summary(latenciesNs))
}

private fun hashes(hex: String): Map<String, String> {
    val bytes = hex.chunked(2).map { it.toInt(16).toByte() }.toByteArray()
    val crc = CRC32().apply { update(ByteBuffer.wrap(bytes)) }
    return mapOf("sha256" to Hash.sha256(bytes), "crc32" to crc.value.toString(16).padStart(8, '0'))
}

private fun order(word: String): Map<String, Any?>? = try {
    val order = Order.read(word)
    mapOf(
        "run" to order.run, "target" to order.target, "model" to order.model.path, "model_sha256" to order.modelSha256,
        "golden" to order.golden?.path, "out" to order.out.path,
        "plan" to with(order.plan) {
            mapOf(
                "warmup_min_s" to warmupMinSeconds, "warmup_min_runs" to warmupMinRuns, "warmup_max_s" to warmupMaxSeconds,
                "min_runs" to minRuns, "min_seconds" to minSeconds, "max_seconds" to maxSeconds, "threads" to threads,
                "accelerator" to accelerator, "seed" to seed,
            )
        },
    )
} catch (_: BenchException) {
    null
}
