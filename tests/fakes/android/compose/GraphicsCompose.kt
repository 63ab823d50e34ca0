package androidx.compose.ui.graphics

class Color(val value: ULong)

class ImageBitmap(val width: Int, val height: Int)

fun android.graphics.Bitmap.asImageBitmap(): ImageBitmap = ImageBitmap(width, height)
