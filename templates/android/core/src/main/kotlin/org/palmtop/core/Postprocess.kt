// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import kotlin.math.exp

/** A class and how sure the model is of it. [label] is empty where the build has none. */
data class Score(val index: Int, val label: String, val value: Float) {
    val hasLabel: Boolean get() = label.isNotEmpty()
}

/** A found object. The corners are shares of the picture's width and height, 0 to 1. */
data class Box(val left: Float, val top: Float, val right: Float, val bottom: Float, val score: Score) {
    private val area: Float get() = maxOf(right - left, 0f) * maxOf(bottom - top, 0f)

    /** The part that two boxes share of what they cover together. */
    fun overlap(other: Box): Float {
        val width = minOf(right, other.right) - maxOf(left, other.left)
        val height = minOf(bottom, other.bottom) - maxOf(top, other.top)
        if (width <= 0 || height <= 0) return 0f
        val shared = width * height
        return shared / (area + other.area - shared)
    }
}

/** What an output of another kind holds, in brief. */
data class TensorSummary(val name: String, val shape: List<Int>, val low: Float, val high: Float, val first: List<Float>)

/** What a model says, ready to be shown. */
sealed interface Prediction {
    data class Classes(val best: List<Score>) : Prediction

    data class Objects(val boxes: List<Box>) : Prediction

    data class Tensors(val summaries: List<TensorSummary>) : Prediction
}

/** From a model's outputs to what they mean. */
class Postprocess(private val model: ModelSpec, private val labels: List<String>) {
    private val specs = model.outputs.associate { it.spec.name to it.spec }

    fun apply(outputs: Map<String, Tensor>): Prediction = when (val how = model.postprocess) {
        is PostprocessSpec.Classification -> Prediction.Classes(best(real(outputs, how.output), how))
        is PostprocessSpec.Detection -> Prediction.Objects(Boxes(how).read(outputs))
        is PostprocessSpec.Tensors -> Prediction.Tensors(outputs.keys.map { summary(it, real(outputs, it), outputs.getValue(it).shape) })
    }

    /** Returns an output as real numbers. */
    private fun real(outputs: Map<String, Tensor>, name: String): FloatArray {
        val values = requireNotNull(outputs[name]) { "the model has no output '$name'" }.toFloatArray()
        val quantization = specs[name]?.quantization ?: return values
        return FloatArray(values.size) { (values[it] - quantization.zeroPoint) * quantization.scale }
    }

    private fun best(values: FloatArray, how: PostprocessSpec.Classification): List<Score> {
        val scores = if (how.softmax) softmax(values) else values
        return scores.indices.sortedByDescending { scores[it] }.take(how.most).map { score(it, scores[it]) }
    }

    private fun score(index: Int, value: Float) = Score(index, labels.getOrElse(index) { "" }, value)

    private fun summary(name: String, values: FloatArray, shape: List<Int>) = TensorSummary(
        name, shape, values.minOrNull() ?: 0f, values.maxOrNull() ?: 0f, values.take(FIRST_VALUES),
    )

    private inner class Boxes(private val how: PostprocessSpec.Detection) {
        fun read(outputs: Map<String, Tensor>): List<Box> = when (how.layout) {
            "ssd" -> suppressed(outputs)
            "raw" -> suppress(raw(real(outputs, how.boxes), real(outputs, requireNotNull(how.scores) { "raw boxes need scores" })))
            "yolo" -> suppress(yolo(real(outputs, how.boxes), outputs.getValue(how.boxes).shape))
            else -> throw IllegalArgumentException("boxes laid out as '${how.layout}' are unknown to this app")
        }

        private fun suppressed(outputs: Map<String, Tensor>): List<Box> {
            val corners = real(outputs, how.boxes)
            val scores = real(outputs, requireNotNull(how.scores) { "boxes need scores" })
            val classes = how.classes?.let { real(outputs, it) }
            val count = how.count?.let { real(outputs, it).first().toInt() } ?: scores.size
            return (0 until minOf(count, scores.size))
                .filter { scores[it] >= how.scoreMin }
                .map { box(corners, 4 * it, 1, score(classes?.get(it)?.toInt() ?: 0, scores[it])) }
                .take(how.most)
        }

        private fun raw(corners: FloatArray, scores: FloatArray): List<Box> {
            val count = corners.size / 4
            val classes = scores.size / count
            return (0 until count).flatMap { index ->
                (0 until classes).filter { scores[index * classes + it] >= how.scoreMin }
                    .map { box(corners, 4 * index, 1, score(it, scores[index * classes + it])) }
            }
        }

        private fun yolo(values: FloatArray, shape: List<Int>): List<Box> {
            val width = if (how.classesFirst) shape[1] else shape[2]
            val count = if (how.classesFirst) shape[2] else shape[1]
            val step = if (how.classesFirst) count else 1
            return (0 until count).mapNotNull { index ->
                val start = if (how.classesFirst) index else index * width
                val best = (4 until width).maxByOrNull { values[start + it * step] } ?: return@mapNotNull null
                val value = values[start + best * step]
                if (value < how.scoreMin) null else box(values, start, step, score(best - 4, value))
            }
        }

        private fun box(values: FloatArray, start: Int, step: Int, score: Score): Box {
            val (a, b, c, d) = List(4) { values[start + it * step] }
            val corners = when (how.boxFormat) {
                "yxyx" -> listOf(b, a, d, c)
                "xyxy" -> listOf(a, b, c, d)
                "cxcywh" -> listOf(a - c / 2, b - d / 2, a + c / 2, b + d / 2)
                else -> throw IllegalArgumentException("boxes written as '${how.boxFormat}' are unknown to this app")
            }
            val size = if (how.normalised) Size(1, 1) else inputSize()
            return Box(
                corners[0] / size.width, corners[1] / size.height, corners[2] / size.width, corners[3] / size.height, score,
            )
        }

        private fun inputSize(): Size {
            val input = requireNotNull(model.imageInput) { "boxes in pixels need an image input" }
            val shape = input.spec.shape
            return if (input.layout == Layout.NCHW) Size(shape[2], shape[3]) else Size(shape[1], shape[2])
        }

        /** Greedy non-maximum suppression, class by class. */
        private fun suppress(found: List<Box>): List<Box> {
            val kept = ArrayList<Box>()
            for (box in found.sortedByDescending { it.score.value }) {
                if (kept.size == how.most) break
                if (kept.none { it.score.index == box.score.index && it.overlap(box) > how.iouMax }) kept.add(box)
            }
            return kept
        }
    }

    companion object {
        private const val FIRST_VALUES = 8

        fun softmax(values: FloatArray): FloatArray {
            val highest = values.maxOrNull() ?: return values
            val powers = DoubleArray(values.size) { exp((values[it] - highest).toDouble()) }
            val total = powers.sum()
            return FloatArray(values.size) { (powers[it] / total).toFloat() }
        }
    }
}
