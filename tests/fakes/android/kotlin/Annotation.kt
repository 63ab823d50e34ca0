package android.annotation

@Target(AnnotationTarget.CLASS, AnnotationTarget.FUNCTION)
annotation class TargetApi(val value: Int)
