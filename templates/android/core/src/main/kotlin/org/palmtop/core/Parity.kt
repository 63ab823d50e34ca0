// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import kotlin.math.abs
import kotlin.math.sqrt

/** How far one output is from the golden one over all samples, summed up in double precision. */
class Distance {
    var maxAbs = 0.0
        private set
    var samples = 0
        private set
    private var dot = 0.0
    private var square = 0.0
    private var goldenSquare = 0.0
    private var sameTop = 0
    private var isScores = true

    /** Takes one sample into account; another shape counts as infinitely far, and NaN stays NaN. */
    fun add(value: Tensor, golden: Tensor) {
        samples++
        if (value.shape != golden.shape) {
            maxAbs = Double.POSITIVE_INFINITY
            return
        }
        var top = 0
        var goldenTop = 0
        for (index in 0 until value.size) {
            val mine = value[index]
            val wanted = golden[index]
            val difference = abs(mine - wanted)
            if (difference.isNaN() || difference > maxAbs) maxAbs = if (maxAbs.isNaN()) maxAbs else difference
            dot += mine * wanted
            square += mine * mine
            goldenSquare += wanted * wanted
            if (isLarger(mine, value[top])) top = index
            if (isLarger(wanted, golden[goldenTop])) goldenTop = index
        }
        val last = golden.shape.lastOrNull() ?: 0
        isScores = isScores && last >= 2 && last == golden.size
        if (top == goldenTop) sameTop++
    }

    private fun isLarger(value: Double, best: Double): Boolean = value > best || (value.isNaN() && !best.isNaN())

    /** The cosine of all samples as one vector; 1 where both are zero, 0 where one is. */
    val cosine: Double
        get() {
            if (square == 0.0 && goldenSquare == 0.0) return 1.0
            val length = sqrt(square) * sqrt(goldenSquare)
            return if (length == 0.0) 0.0 else dot / length
        }

    /** The share of samples whose largest score is the same, or null for an output that is no vector of scores. */
    val top1: Double? get() = if (isScores && samples > 0) sameTop.toDouble() / samples else null
}

object Parity {
    /** Runs the samples one by one and returns the distance of each golden output; [progress] gets the samples done. */
    fun check(engine: InferenceEngine, golden: Golden, progress: (Int) -> Unit = {}): Map<String, Distance> {
        val distances = golden.outputNames.associateWith { Distance() }
        golden.samples.forEachIndexed { index, sample ->
            val outputs = engine.infer(sample.inputs)
            for ((name, distance) in distances) {
                val value = requireNotNull(outputs[name]) { "the golden output '$name' is none of the model's: ${outputs.keys}" }
                distance.add(value, sample.outputs.getValue(name))
            }
            progress(index + 1)
        }
        return distances
    }

    /** Returns in words what is out of tolerance, or an empty list where the app computes what the build computes. */
    fun faults(distances: Map<String, Distance>, tolerances: List<Tolerance>): List<String> = tolerances.mapNotNull { allowed ->
        val found = distances[allowed.output]
        when {
            found == null -> "the output '${allowed.output}' was not checked"
            !(found.maxAbs <= allowed.maxAbs) ->
                "the output '${allowed.output}' is off by up to ${found.maxAbs}, where ${allowed.maxAbs} is allowed"
            allowed.cosineMin != null && !(found.cosine >= allowed.cosineMin) ->
                "the output '${allowed.output}' has cosine ${found.cosine}, where ${allowed.cosineMin} is the least"
            else -> null
        }
    }
}
