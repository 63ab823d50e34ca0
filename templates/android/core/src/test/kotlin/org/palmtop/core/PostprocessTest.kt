// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import org.junit.Assert.assertEquals
import org.junit.Test

class PostprocessTest {
    private fun model(postprocess: PostprocessSpec, vararg outputs: TensorSpec) = ModelSpec(
        buildId = "b", target = "t", file = "f", sha256 = "", sizeBytes = 0, task = Task.TENSOR,
        inputs = listOf(Port(TensorSpec("image", DType.FLOAT32, listOf(1, 100, 200, 3)), "image", Layout.NHWC)),
        outputs = outputs.map { Port(it, "tensor", null) },
        preprocess = PreprocessSpec(null, null, Colour.RGB, 1f, emptyList(), emptyList(), Layout.NHWC),
        postprocess = postprocess, text = null, labels = null, golden = null, preprocessGolden = null,
    )

    private fun detection(layout: String, format: String = "xyxy", normalised: Boolean = true, classesFirst: Boolean = false) =
        PostprocessSpec.Detection(layout, "boxes", "scores", "classes", "count", format, normalised, classesFirst, 0.25f, 0.45f, 100)

    private fun floats(vararg values: Float, shape: List<Int>) = Tensor.ofFloats(values, shape)

    private fun boxes(how: PostprocessSpec.Detection, outputs: Map<String, Tensor>): List<Box> =
        (Postprocess(model(how), listOf("cat", "dog")).apply(outputs) as Prediction.Objects).boxes

    @Test
    fun theBestClassesComeFirstWithTheirLabels() {
        val how = PostprocessSpec.Classification("scores", true, 2)
        val scores = TensorSpec("scores", DType.FLOAT32, listOf(1, 3))
        val found = Postprocess(model(how, scores), listOf("cat", "dog")).apply(mapOf("scores" to floats(1f, 3f, 2f, shape = listOf(1, 3))))
        val best = (found as Prediction.Classes).best
        assertEquals(listOf("dog", ""), best.map { it.label })
        assertEquals(0.665, best[0].value.toDouble(), 0.001)
    }

    @Test
    fun quantizedScoresAreMadeRealFirst() {
        val how = PostprocessSpec.Classification("scores", false, 1)
        val scores = TensorSpec("scores", DType.INT8, listOf(1, 2), Quantization(1 / 256f, -128))
        val tensor = Tensor.ofBytes(DType.INT8, listOf(1, 2), byteArrayOf(0, 64))
        val best = (Postprocess(model(how, scores), emptyList()).apply(mapOf("scores" to tensor)) as Prediction.Classes).best
        assertEquals(0.75, best.single().value.toDouble(), 1e-6)
    }

    @Test
    fun boxesThatOverlapAreSuppressedWithinTheirClass() {
        val corners = floats(0f, 0f, 1f, 1f, 0f, 0f, 1f, 0.9f, 0f, 0f, 1f, 1f, 0.5f, 0.5f, 0.6f, 0.6f, shape = listOf(1, 4, 4))
        val scores = floats(0.9f, 0f, 0.8f, 0f, 0f, 0.7f, 0.2f, 0.1f, shape = listOf(1, 4, 2))
        val found = boxes(detection("raw"), mapOf("boxes" to corners, "scores" to scores))
        assertEquals(listOf("cat", "dog"), found.map { it.score.label })
    }

    @Test
    fun finishedDetectionsAreTakenAsTheyAre() {
        val outputs = mapOf(
            "boxes" to floats(0.1f, 0.2f, 0.3f, 0.4f, 0f, 0f, 0f, 0f, shape = listOf(1, 2, 4)),
            "classes" to floats(1f, 0f, shape = listOf(1, 2)),
            "scores" to floats(0.6f, 0.9f, shape = listOf(1, 2)),
            "count" to floats(1f, shape = listOf(1)),
        )
        val box = boxes(detection("ssd", "yxyx"), outputs).single()
        assertEquals(listOf(0.2f, 0.1f, 0.4f, 0.3f), listOf(box.left, box.top, box.right, box.bottom))
        assertEquals("dog", box.score.label)
    }

    @Test
    fun centresAndSizesInPixelsBecomeShares() {
        val first = floats(100f, 50f, 100f, 50f, 0.1f, 0.8f, shape = listOf(1, 6, 1))
        for ((shape, classesFirst) in listOf(listOf(1, 6, 1) to true, listOf(1, 1, 6) to false)) {
            val outputs = mapOf("boxes" to Tensor.ofFloats(first.toFloatArray(), shape))
            val box = boxes(detection("yolo", "cxcywh", normalised = false, classesFirst = classesFirst), outputs).single()
            assertEquals(listOf(0.25f, 0.25f, 0.75f, 0.75f), listOf(box.left, box.top, box.right, box.bottom))
            assertEquals("dog", box.score.label)
        }
    }

    @Test
    fun otherTensorsAreSummedUp() {
        val found = Postprocess(model(PostprocessSpec.Tensors), emptyList()).apply(mapOf("y" to floats(-1f, 4f, shape = listOf(2))))
        assertEquals(TensorSummary("y", listOf(2), -1f, 4f, listOf(-1f, 4f)), (found as Prediction.Tensors).summaries.single())
    }
}
